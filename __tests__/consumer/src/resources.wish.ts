// a declastruct wish: credentials first, at the top level, before any client is built
import { keyrack } from 'keyrack';

const env = (process.env.ENV as 'prep' | 'test' | undefined) ?? 'prep';
keyrack.source({ env, owner: 'ehmpath', mode: 'strict' });

class Client {
  readonly profile = process.env.AWS_PROFILE;
}
const client = new Client();

export const getResources = async (): Promise<{ profile: string | undefined }> => ({ profile: client.profile });
void getResources().then((found) => console.log(JSON.stringify(found)));
