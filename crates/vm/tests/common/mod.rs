//! Children of a test's process.

/// Starts a child that ends with 0 if `act` returns, in at most 20 seconds.
pub fn in_child(act: impl FnOnce()) -> libc::pid_t {
    // SAFETY: [foreign function] the child runs code of a test and of what it tests, which waits for no lock
    // of another thread, and leaves by `_exit` or a signal.
    match unsafe { libc::fork() } {
        0 => {
            // SAFETY: [foreign function] the default disposition of `SIGALRM` ends the process.
            unsafe { libc::alarm(20) };
            let result = std::panic::catch_unwind(std::panic::AssertUnwindSafe(act));
            // SAFETY: [foreign function] `_exit` may be called anywhere.
            unsafe { libc::_exit(i32::from(result.is_err())) }
        }
        child => {
            assert!(child > 0, "a process can be made");
            child
        }
    }
}

/// Waits for a child, which must have ended with 0.
pub fn wait_for(child: libc::pid_t) {
    let mut status = 0;
    // SAFETY: [foreign function] the child is ours, and `status` may be written.
    assert_eq!(unsafe { libc::waitpid(child, &mut status, 0) }, child);
    assert!(libc::WIFEXITED(status) && libc::WEXITSTATUS(status) == 0, "status {status:#x}");
}
