import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { keyrack } from 'keyrack';

// source the credentials of this repo, where it has a keyrack
if (existsSync(join(process.cwd(), '.agent/keyrack.yml')))
  keyrack.source({ env: 'test', owner: 'ehmpath', mode: 'strict' });
