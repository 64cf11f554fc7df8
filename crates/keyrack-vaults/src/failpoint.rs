//! The seam through which tests break a write at any of its steps. In a build that is not a unit test it is nothing at all.

use std::io;

/// Called before each step that changes the disk. Fails, or ends the process, only when a unit test of this thread asked for it.
#[cfg(not(test))]
#[inline(always)]
#[expect(clippy::unnecessary_wraps, reason = "under test it does fail")]
pub(crate) fn failpoint(_name: &'static str) -> io::Result<()> {
    Ok(())
}

#[cfg(test)]
pub(crate) use tests::failpoint;

#[cfg(test)]
pub(crate) mod tests {
    use std::cell::RefCell;

    use super::io;

    /// What is to happen at the n-th step, counted from 0.
    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    pub(crate) enum InjectedFailure {
        /// The step fails with this errno; what follows is the code's own handling.
        Fail(usize, i32),
        /// The process ends at once with the status [`DIED`].
        Die(usize),
    }

    /// The exit status of a process that a plan ended.
    pub(crate) const DIED: i32 = 86;

    thread_local! {
        static PLAN: RefCell<(Option<InjectedFailure>, Vec<&'static str>)> = const { RefCell::new((None, Vec::new())) };
    }

    /// What is to be run before a step of this name.
    type Hook = Option<(&'static str, Box<dyn FnOnce()>)>;

    thread_local! {
        static HOOK: RefCell<Hook> = const { RefCell::new(None) };
    }

    /// Has `hook` run once, just before the next step of this name.
    pub(crate) fn before(step: &'static str, hook: impl FnOnce() + 'static) {
        HOOK.set(Some((step, Box::new(hook))));
    }

    /// Runs `work` under a plan, and says which steps it came by.
    pub(crate) fn under<T>(
        plan: Option<InjectedFailure>,
        work: impl FnOnce() -> T,
    ) -> (T, Vec<&'static str>) {
        PLAN.with_borrow_mut(|state| *state = (plan, Vec::new()));
        let result = work();
        let steps = PLAN.with_borrow_mut(std::mem::take).1;
        (result, steps)
    }

    pub(crate) fn failpoint(name: &'static str) -> io::Result<()> {
        if HOOK.with_borrow(|hook| hook.as_ref().is_some_and(|(step, _)| *step == name)) {
            let (_, hook) = HOOK.take().expect("it was just seen");
            hook();
        }
        PLAN.with_borrow_mut(|(plan, steps)| {
            let n = steps.len();
            steps.push(name);
            match *plan {
                Some(InjectedFailure::Fail(at, errno)) if at == n => Err(io::Error::from_raw_os_error(errno)),
                // No destructor runs and nothing is flushed: to the disk it is the same as SIGKILL.
                Some(InjectedFailure::Die(at)) if at == n => std::process::exit(DIED),
                _ => Ok(()),
            }
        })
    }
}
