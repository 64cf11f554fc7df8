//! Assembler of the program that the kernel runs at each system call of a confined process
//! (`seccomp(2)`, classic `bpf(4)`), from a table. The program finds the call's number by binary
//! search, so every call takes a few steps. A call that is allowed with any arguments is decided by
//! its number alone, which Linux 5.11 and later cache.

use libc::sock_filter;

/// Action for a call of this architecture that the table does not have: it fails with EPERM.
const REFUSE: u32 = libc::SECCOMP_RET_ERRNO | libc::EPERM.unsigned_abs();

/// Offsets in `struct seccomp_data` of the number, the architecture, and the arguments of eight
/// bytes each.
const NUMBER: u32 = 0;
const ARCH: u32 = 4;
const ARGUMENTS: u32 = 16;

/// Rule for one system call. Only the lower half of an argument is compared: all arguments listed
/// here are `int`, or flags below 2³¹.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Rule {
    /// Allows the call.
    Allow,
    /// Kills the process.
    Kill,
    /// Allows the call if the argument with this index is one of these values.
    OneOf(u32, Vec<u32>),
    /// Allows the call if the argument with this index has none of these bits.
    Without(u32, u32),
}

/// Assembles the program for a table of system calls by number. `arch` (`AUDIT_ARCH_*`) is the only
/// architecture that is allowed: a call of another one, which our processes never make, kills the
/// process.
///
/// # Panics
/// If the table is far larger than any of ours.
pub(super) fn assemble(arch: u32, mut table: Vec<(u32, Rule)>) -> Vec<sock_filter> {
    table.sort_by_key(|(number, _)| *number);
    let mut program =
        vec![load(ARCH), jump(libc::BPF_JEQ, arch, 1, 0), ret(libc::SECCOMP_RET_KILL_PROCESS), load(NUMBER)];
    program.extend(search(&table));
    program
}

fn search(table: &[(u32, Rule)]) -> Vec<sock_filter> {
    if table.len() <= 2 {
        let mut program = Vec::new();
        for (number, rule) in table {
            let then = decide(rule);
            program.push(jump(libc::BPF_JEQ, *number, 0, distance(&then)));
            program.extend(then);
        }
        program.push(ret(REFUSE));
        return program;
    }
    let (low, high) = table.split_at(table.len() / 2);
    let (below, above) = (search(low), search(high));
    let mut program = vec![jump(libc::BPF_JGE, high[0].0, distance(&below), 0)];
    program.extend(below);
    program.extend(above);
    program
}

fn decide(rule: &Rule) -> Vec<sock_filter> {
    let allow = ret(libc::SECCOMP_RET_ALLOW);
    let refuse = ret(REFUSE);
    match rule {
        Rule::Allow => vec![allow],
        Rule::Kill => vec![ret(libc::SECCOMP_RET_KILL_PROCESS)],
        Rule::Without(index, bits) => {
            vec![load(ARGUMENTS + 8 * index), jump(libc::BPF_JSET, *bits, 0, 1), refuse, allow]
        }
        Rule::OneOf(index, values) => {
            let mut program = vec![load(ARGUMENTS + 8 * index)];
            for (n, value) in values.iter().enumerate() {
                program.push(jump(libc::BPF_JEQ, *value, offset(values.len() - n), 0));
            }
            program.extend([refuse, allow]);
            program
        }
    }
}

fn distance(over: &[sock_filter]) -> u8 {
    offset(over.len())
}

fn offset(steps: usize) -> u8 {
    u8::try_from(steps).expect("half of a table of a hundred calls is shorter than 256 steps")
}

fn load(at: u32) -> sock_filter {
    sock_filter { code: code(libc::BPF_LD | libc::BPF_W | libc::BPF_ABS), jt: 0, jf: 0, k: at }
}

fn jump(test: u32, value: u32, yes: u8, no: u8) -> sock_filter {
    sock_filter { code: code(libc::BPF_JMP | test | libc::BPF_K), jt: yes, jf: no, k: value }
}

fn ret(action: u32) -> sock_filter {
    sock_filter { code: code(libc::BPF_RET | libc::BPF_K), jt: 0, jf: 0, k: action }
}

fn code(bits: u32) -> u16 {
    u16::try_from(bits).expect("opcodes are 16 bits wide")
}

/// Runs the program as the kernel would, and returns its action.
#[cfg(test)]
pub(super) fn verdict(program: &[sock_filter], arch: u32, number: u32, arguments: [u64; 6]) -> u32 {
    let mut data = Vec::new();
    data.extend(number.to_le_bytes());
    data.extend(arch.to_le_bytes());
    data.extend(0_u64.to_le_bytes());
    arguments.iter().for_each(|argument| data.extend(argument.to_le_bytes()));
    let (mut at, mut word) = (0, 0);
    loop {
        let step = program[at];
        at += 1;
        let bits = u32::from(step.code);
        let k = step.k as usize;
        match bits & 0x07 {
            libc::BPF_LD => word = u32::from_le_bytes(data[k..k + 4].try_into().unwrap()),
            libc::BPF_RET => return step.k,
            libc::BPF_JMP => {
                let yes = match bits & 0xf0 {
                    libc::BPF_JEQ => word == step.k,
                    libc::BPF_JGE => word >= step.k,
                    libc::BPF_JSET => word & step.k != 0,
                    other => panic!("no such test: {other:#x}"),
                };
                at += usize::from(if yes { step.jt } else { step.jf });
            }
            other => panic!("no such step: {other:#x}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const HERE: u32 = 0xc000_003e;

    fn rule() -> impl Strategy<Value = Rule> {
        prop_oneof![
            Just(Rule::Allow),
            Just(Rule::Kill),
            (0..6_u32, prop::collection::vec(0..8_u32, 0..4)).prop_map(|(n, values)| Rule::OneOf(n, values)),
            (0..6_u32, 0..8_u32).prop_map(|(n, bits)| Rule::Without(n, bits)),
        ]
    }

    fn meant(rule: Option<&Rule>, arguments: [u64; 6]) -> u32 {
        let low = |index: &u32| u32::try_from(arguments[*index as usize] & 0xffff_ffff).unwrap();
        let allowed = match rule {
            None => false,
            Some(Rule::Kill) => return libc::SECCOMP_RET_KILL_PROCESS,
            Some(Rule::Allow) => true,
            Some(Rule::OneOf(index, values)) => values.contains(&low(index)),
            Some(Rule::Without(index, bits)) => low(index) & bits == 0,
        };
        if allowed { libc::SECCOMP_RET_ALLOW } else { REFUSE }
    }

    proptest! {
        #[test]
        fn every_table_decides_as_it_says(
            table in prop::collection::btree_map(0..160_u32, rule(), 0..100),
            arguments in prop::array::uniform6(prop_oneof![0..8_u64, any::<u64>()]),
        ) {
            let program = assemble(HERE, table.clone().into_iter().rev().collect());
            for number in (0..170).chain([0x4000_0000, 0x4000_0001, u32::MAX]) {
                prop_assert_eq!(verdict(&program, HERE, number, arguments), meant(table.get(&number), arguments));
                prop_assert_eq!(verdict(&program, HERE ^ 1, number, arguments), libc::SECCOMP_RET_KILL_PROCESS);
            }
        }
    }

    #[test]
    fn assemble_decides_a_hundred_calls_within_a_few_steps() {
        let table = (0..100).map(|number| (number * 3, Rule::Allow)).collect();
        let program = assemble(HERE, table);
        assert!(program.len() < 400, "{}", program.len());
        // The kernel takes at most 4096 (BPF_MAXINSNS).
    }
}
