// The same names as a CommonJS module sees them.

import keyrack = require('keyrack');

keyrack.getSync({ for: { key: 'API_KEY' }, env: 'test' });
// @ts-expect-error misspelt
keyrack.getSync({ for: { key: 'API_KYE' }, env: 'test' });
// @ts-expect-error misspelt
keyrack.keyrack.source({ env: 'test', key: 'API_KYE' });
