export * from './index.js';
export { keyrack as default } from './index.js';
