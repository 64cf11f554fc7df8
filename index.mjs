import face from './index.js';

export const { get, getSync, source, status, relock, unlock, set, del, keyrack, KeyrackError, ErasableSecret } = face;
export const { formatKeyrackGetAllOutput, formatKeyrackGetOneOutput, formatKeyrackKeyBranch, genContextKeyrackGrantGet, getKeyrackKeyGrant } = face;
export default keyrack;
