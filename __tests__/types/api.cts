// Types as a CommonJS module sees them.

import keyrack = require('keyrack');
import bin = require('keyrack/bin');

keyrack.source({ env: 'test', owner: 'ehmpath', mode: 'strict' });
const { attempt } = keyrack.getSync({ for: { key: 'K' }, env: 'test' });
if (attempt.status === 'granted') attempt.grant.key.secret satisfies string;
keyrack.keyrack.status();
new keyrack.KeyrackError({ code: 'io', message: 'm' }).code satisfies string;
bin.binaryPath('keyrackd') satisfies string;
