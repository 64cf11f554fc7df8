//! JSON schemas of the output under `--json`, from `schemas/`: one for each command, one for errors
//! and one for notices.

/// Schemas by name: the words of the command joined by dashes, or `error` or `notice`.
pub(crate) const SCHEMAS: &[(&str, &str)] = &[
    ("daemon-prune", include_str!("../../../schemas/daemon-prune.schema.json")),
    ("daemon-restart", include_str!("../../../schemas/daemon-restart.schema.json")),
    ("daemon-start", include_str!("../../../schemas/daemon-start.schema.json")),
    ("daemon-status", include_str!("../../../schemas/daemon-status.schema.json")),
    ("daemon-stop", include_str!("../../../schemas/daemon-stop.schema.json")),
    ("del", include_str!("../../../schemas/del.schema.json")),
    ("doctor", include_str!("../../../schemas/doctor.schema.json")),
    ("error", include_str!("../../../schemas/error.schema.json")),
    ("fill", include_str!("../../../schemas/fill.schema.json")),
    ("get", include_str!("../../../schemas/get.schema.json")),
    ("init", include_str!("../../../schemas/init.schema.json")),
    ("list", include_str!("../../../schemas/list.schema.json")),
    ("notice", include_str!("../../../schemas/notice.schema.json")),
    ("recipient-del", include_str!("../../../schemas/recipient-del.schema.json")),
    ("recipient-get", include_str!("../../../schemas/recipient-get.schema.json")),
    ("recipient-set", include_str!("../../../schemas/recipient-set.schema.json")),
    ("relock", include_str!("../../../schemas/relock.schema.json")),
    ("set", include_str!("../../../schemas/set.schema.json")),
    ("source", include_str!("../../../schemas/source.schema.json")),
    ("status", include_str!("../../../schemas/status.schema.json")),
    ("types", include_str!("../../../schemas/types.schema.json")),
    ("unlock", include_str!("../../../schemas/unlock.schema.json")),
];

/// Returns the schema of a name.
pub(crate) fn find(name: &str) -> Option<&'static str> {
    SCHEMAS.iter().find(|(known, _)| *known == name).map(|(_, text)| *text)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::args::tree;

    /// Commands without output, whose `--json` changes stderr only.
    const WITHOUT_OUTPUT: [&str; 1] = ["infra-init"];

    #[test]
    fn every_json_flag_has_schema() {
        fn walk(command: &clap::Command, name: &str, answering: &mut Vec<String>) {
            if command.get_arguments().any(|arg| arg.get_id() == "json") {
                answering.push(name.to_owned());
            }
            for below in command.get_subcommands() {
                let dash = if name.is_empty() { "" } else { "-" };
                walk(below, &format!("{name}{dash}{}", below.get_name()), answering);
            }
        }
        let mut tree = tree();
        tree.build();
        let mut answering = vec!["error".to_owned(), "notice".to_owned()];
        walk(&tree, "", &mut answering);
        answering.retain(|name| !WITHOUT_OUTPUT.contains(&name.as_str()));
        answering.sort_unstable();
        let names: Vec<&str> = SCHEMAS.iter().map(|(name, _)| *name).collect();
        assert_eq!(names, answering, "write schemas/COMMAND.schema.json and add it to the list");
        let dir = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../../schemas");
        assert_eq!(std::fs::read_dir(dir).unwrap().count(), SCHEMAS.len(), "every file is in the list");
    }
}
