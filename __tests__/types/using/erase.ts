// `using`, compiled for engines that do not know it, and run.

import { getSync } from 'keyrack';

export function lengthOf(key: string): { during: number; after: number; zeros: boolean } {
  const { attempt } = getSync({ for: { key }, as: 'buffer' });
  if (attempt.status !== 'granted') throw new Error(attempt.status);
  const { secret } = attempt.grant.key;
  const view = secret.bytes;
  let during: number;
  {
    using held = secret;
    during = held.bytes.length;
  }
  return { during, after: secret.bytes.length, zeros: view.every((byte) => byte === 0) };
}
