// a practice that writes workflow files: only the names of the keys matter, not their status
import { keyrack } from 'keyrack';

export const getKeyNames = async (): Promise<string[]> => {
  const { attempts } = await keyrack.get({ for: { repo: true }, env: 'test' });
  return attempts.map((attempt) => {
    const slug = attempt.status === 'granted' ? attempt.grant.slug : attempt.slug;
    return slug.split('.').slice(2).join('.');
  });
};
void getKeyNames().then((names) => console.log(JSON.stringify(names)));
