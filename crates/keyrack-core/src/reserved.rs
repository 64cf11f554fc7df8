//! Names of environment variables that belong to shells, loaders and interpreters. A key of such a
//! name would break or control the program that gets it.

/// Owner of a variable that no key may have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reserved {
    /// Shells set it themselves: an assignment fails, or changes the shell. To other programs it
    /// means nothing.
    Shell,
    /// Programs use it to find what they load or run.
    Loader,
}

impl Reserved {
    /// The reason why no secret belongs there, to follow the variable's name.
    pub fn reason(self) -> &'static str {
        match self {
            Reserved::Shell => "belongs to the shell, which sets it itself",
            Reserved::Loader => "decides what programs load and run",
        }
    }
}

/// Shell variables, in the case in which they are special: bash(1), zshparam(1), ksh(1), fish's
/// language reference.
const SHELL: [&str; 46] = [
    "_",
    "argv",
    "BASHPID",
    "COLUMNS",
    "COPROC",
    "DIRSTACK",
    "EGID",
    "EPOCHREALTIME",
    "EPOCHSECONDS",
    "EUID",
    "fignore",
    "fish_pid",
    "FUNCNAME",
    "GID",
    "GROUPS",
    "histchars",
    "HISTCMD",
    "HISTFILE",
    "history",
    "LINENO",
    "LINES",
    "mailpath",
    "manpath",
    "MAPFILE",
    "OLDPWD",
    "OPTARG",
    "OPTERR",
    "OPTIND",
    "options",
    "pipestatus",
    "PIPESTATUS",
    "PPID",
    "prompt",
    "psvar",
    "PWD",
    "RANDOM",
    "REPLY",
    "SECONDS",
    "SHLVL",
    "signals",
    "SRANDOM",
    "status",
    "TMOUT",
    "UID",
    "USERNAME",
    "watch",
];

/// Variables by which programs find what they load or run, in any case: zsh's `path` is PATH.
const LOADER: [&str; 66] = [
    "_JAVA_OPTIONS",
    "BASHOPTS",
    "BASH_ENV",
    "BROWSER",
    "CDPATH",
    "CLASSPATH",
    "CURL_HOME",
    "DOTNET_STARTUP_HOOKS",
    "EDITOR",
    "ENV",
    "FPATH",
    "GCONV_PATH",
    "GIT_ASKPASS",
    "GIT_CONFIG_GLOBAL",
    "GIT_CONFIG_SYSTEM",
    "GIT_EDITOR",
    "GIT_EXEC_PATH",
    "GIT_EXTERNAL_DIFF",
    "GIT_PAGER",
    "GIT_SSH",
    "GIT_SSH_COMMAND",
    "GIT_TEMPLATE_DIR",
    "GLIBC_TUNABLES",
    "HOME",
    "HOSTALIASES",
    "IFS",
    "JAVA_TOOL_OPTIONS",
    "JDK_JAVA_OPTIONS",
    "LESSCLOSE",
    "LESSOPEN",
    "LOCPATH",
    "LUA_CPATH",
    "LUA_INIT",
    "LUA_PATH",
    "MANPAGER",
    "MODULE_PATH",
    "NODE_OPTIONS",
    "NODE_PATH",
    "OPENSSL_CONF",
    "OPENSSL_MODULES",
    "PAGER",
    "PATH",
    "PERL5DB",
    "PERL5LIB",
    "PERL5OPT",
    "PERLLIB",
    "PHPRC",
    "PHP_INI_SCAN_DIR",
    "PROMPT_COMMAND",
    "PS0",
    "PS1",
    "PS2",
    "PS3",
    "PS4",
    "PSMODULEPATH",
    "PYTHONHOME",
    "PYTHONPATH",
    "PYTHONSTARTUP",
    "RUBYLIB",
    "RUBYOPT",
    "SHELL",
    "SHELLOPTS",
    "SSH_ASKPASS",
    "TERMINFO",
    "VISUAL",
    "ZDOTDIR",
];

/// Prefixes of the dynamic linkers' variables (ld.so(8), dyld(1)) and of bash's own.
const PREFIXES: [(&str, Reserved); 4] = [
    ("LD_", Reserved::Loader),
    ("DYLD_", Reserved::Loader),
    ("BASH_", Reserved::Shell),
    ("COMP_", Reserved::Shell),
];

/// Returns the owner of the variable of this name; `None` if a key may have it.
pub fn reserved(name: &str) -> Option<Reserved> {
    let upper = name.to_ascii_uppercase();
    if LOADER.contains(&upper.as_str()) {
        return Some(Reserved::Loader);
    }
    if SHELL.contains(&name) {
        return Some(Reserved::Shell);
    }
    PREFIXES.iter().find(|(prefix, _)| upper.starts_with(prefix)).map(|(_, whose)| *whose)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reserved_finds_shell_and_loader_variables() {
        for (name, whose) in [
            ("UID", Some(Reserved::Shell)),
            ("PPID", Some(Reserved::Shell)),
            ("EUID", Some(Reserved::Shell)),
            ("BASH_VERSINFO", Some(Reserved::Shell)),
            ("USERNAME", Some(Reserved::Shell)),
            ("status", Some(Reserved::Shell)),
            ("_", Some(Reserved::Shell)),
            ("PATH", Some(Reserved::Loader)),
            ("path", Some(Reserved::Loader)),
            ("LD_PRELOAD", Some(Reserved::Loader)),
            ("ld_library_path", Some(Reserved::Loader)),
            ("DYLD_INSERT_LIBRARIES", Some(Reserved::Loader)),
            ("NODE_OPTIONS", Some(Reserved::Loader)),
            ("BASH_ENV", Some(Reserved::Loader)),
            ("ENV", Some(Reserved::Loader)),
            ("IFS", Some(Reserved::Loader)),
            ("PYTHONPATH", Some(Reserved::Loader)),
            ("API_KEY", None),
            ("GITHUB_TOKEN", None),
            ("NODE_AUTH_TOKEN", None),
            ("GIT_TOKEN", None),
            ("STATUS", None),
            ("VERSION", None),
            ("USER", None),
            ("DB_PATH", None),
            ("PATHS", None),
            ("ENVIRONMENT", None),
            ("LD", None),
            ("", None),
        ] {
            assert_eq!(reserved(name), whose, "{name}");
        }
    }

    #[test]
    fn lists_are_disjoint_and_without_duplicates() {
        let fold = |names: &[&str]| names.iter().map(|name| name.to_ascii_lowercase()).collect::<Vec<_>>();
        for names in [&SHELL[..], &LOADER] {
            assert!(names.windows(2).all(|pair| pair[0] != pair[1]), "{names:?}");
        }
        let shell = fold(&SHELL);
        assert!(fold(&LOADER).iter().all(|name| !shell.contains(name)));
    }
}
