import bin from './index.js';

export const { binaryPath } = bin;
