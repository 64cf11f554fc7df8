import face from './index.js';

export const { get, getSync, source, status, relock, unlock, set, del, keyrack, KeyrackError, ErasableSecret } = face;
export default keyrack;
