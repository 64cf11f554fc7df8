import { keyrack } from 'keyrack';

keyrack.source({ env: 'prep', owner: 'ehmpath', key: 'XAI_API_KEY' });
console.log(process.env.XAI_API_KEY);
