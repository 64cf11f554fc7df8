//! Failpoints: steps of a write that unit tests make fail. In any other build they do nothing.

use std::io;

/// Called before each step that changes the disk. It fails or exits only if a unit test of this
/// thread requests it.
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

    /// Failure at the n-th step, counted from 0.
    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    pub(crate) enum InjectedFailure {
        /// The step fails with this errno. The code handles it.
        Fail(usize, i32),
        /// The process exits at once with the status [`DIED`].
        Die(usize),
    }

    /// Exit status of a process that an injected failure ended.
    pub(crate) const DIED: i32 = 86;

    thread_local! {
        static PLAN: RefCell<(Option<InjectedFailure>, Vec<&'static str>)> = const { RefCell::new((None, Vec::new())) };
    }

    /// Function to run before a step of this name.
    type Hook = Option<(&'static str, Box<dyn FnOnce()>)>;

    thread_local! {
        static HOOK: RefCell<Hook> = const { RefCell::new(None) };
    }

    /// Runs `hook` once, just before the next step of this name.
    pub(crate) fn before(step: &'static str, hook: impl FnOnce() + 'static) {
        HOOK.set(Some((step, Box::new(hook))));
    }

    /// Runs `work` with an injected failure, and returns the steps that it reached.
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
                // No destructor runs and nothing is flushed: to the disk it is like SIGKILL.
                Some(InjectedFailure::Die(at)) if at == n => std::process::exit(DIED),
                _ => Ok(()),
            }
        })
    }
}
