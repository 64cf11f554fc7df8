// credentials of a supplier: get or unlock exactly these keys, and say which could not be had
import { formatKeyrackGetAllOutput, formatKeyrackGetOneOutput, formatKeyrackKeyBranch, keyrack } from 'keyrack';
import type { KeyrackGrantAttempt } from 'keyrack';

export const getSdkCreds = async <T extends string>(input: { creds: { keyrack: { owner: string; env: string } }; keys: T[] }): Promise<Record<T, string>> => {
  const { owner, env } = input.creds.keyrack;
  const attempts: { key: T; attempt: KeyrackGrantAttempt }[] = [];
  for (const key of input.keys) {
    const { attempt } = await keyrack.get({ for: { key }, owner, env, with: { unlock: true } });
    attempts.push({ key, attempt });
  }
  const failed = attempts.filter(({ attempt }) => attempt.status !== 'granted').map(({ attempt }) => attempt);
  if (failed.length > 0) throw new Error(formatKeyrackGetAllOutput({ attempts: failed }));
  return Object.fromEntries(attempts.map(({ key, attempt }) => [key, attempt.status === 'granted' ? attempt.grant.key.secret : ''])) as Record<T, string>;
};

const run = async (): Promise<void> => {
  const creds = { keyrack: { owner: 'ehmpath', env: 'test' } };
  console.log(JSON.stringify(await getSdkCreds({ creds, keys: ['XAI_API_KEY', 'OPENAI_API_KEY'] })));
  await getSdkCreds({ creds, keys: ['XAI_API_KEY', 'NEVER_SET'] }).catch((error: Error) => console.log(error.message));
  const { attempt } = await keyrack.get({ for: { key: 'NEVER_SET' }, owner: 'ehmpath', env: 'test' });
  console.log(formatKeyrackGetOneOutput({ attempt }) === ['', '🔐 keyrack', ...formatKeyrackKeyBranch({ entry: attempt, isLast: true }), '', ''].join('\n'));
};
void run();
