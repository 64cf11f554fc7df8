#!/usr/bin/env node
// The tests that take too long for every push: an hour of mixed traffic, in which a daemon may not
// grow. `npm run soak -- --seconds N` for another time. Needs the binaries of `npm run build`.

import { parseArgs } from 'node:util';
import { run } from './command.mjs';

let seconds;
try {
  ({ values: { seconds } } = parseArgs({ options: { seconds: { type: 'string', default: '3600' } } }));
} catch (error) {
  console.error(`soak: ${error.message}`);
  process.exit(2);
}
if (!/^[1-9][0-9]*$/.test(seconds)) {
  console.error('soak: --seconds takes a whole number from 1');
  process.exit(2);
}
run('cargo', ['test', '--locked', '-p', 'keyrackd', '--test', 'it', '--', '--ignored', '--exact', 'load::hour_of_mixed_traffic_leaks_nothing', '--nocapture'], {
  env: { ...process.env, KEYRACK_SOAK_SECONDS: seconds },
});
