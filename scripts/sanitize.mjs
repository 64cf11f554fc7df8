#!/usr/bin/env node
// Runs the tests of the crate with all the unsafe code, and of those that read what others wrote,
// under the address sanitizer of the nightly compiler. `npm run sanitize`; it takes some minutes
// the first time, and needs the binaries of `npm run build`.

import { capture, run } from './command.mjs';

// The sanitizer makes mlock(2) do nothing and maps terabytes of its own: what these see of the
// kernel is its doing, not ours. They run without it.
const BLIND = [
  'debugger::the_same_users_debugger_is_kept_out_of_the_daemon',
  'memory::a_dump_of_the_process_has_no_secret',
  'memory::many_secrets_use_little_memory_of_the_process',
  'memory::kernel_confirms_the_protection_of_each_mode',
  'memory::budget_shrinks_to_the_memlock_limit',
  'memory::memory_that_is_locked_already_is_not_counted',
];

const host = capture('rustc', ['+nightly', '-vV']).match(/^host: (.*)$/m)[1];
const env = {
  ...process.env,
  RUSTFLAGS: '-Zsanitizer=address',
  // Leaks are looked for by tracing oneself, which a process that hides from debuggers does not
  // allow.
  ASAN_OPTIONS: 'detect_leaks=0',
  CARGO_TARGET_DIR: process.env.CARGO_TARGET_DIR ?? 'target/sanitize',
};
const skip = BLIND.flatMap((name) => ['--skip', name]);
run('cargo', ['+nightly', 'test', '--locked', '--target', host, '-p', 'keyrack-sys', '-p', 'keyrack-wire', '--', ...skip], { env });
// Its integration tests run the daemon's own binary, which is built without.
run('cargo', ['+nightly', 'test', '--locked', '--target', host, '-p', 'keyrackd', '--lib'], { env });
