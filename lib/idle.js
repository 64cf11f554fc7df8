'use strict';
// Closes connections to the daemon that the addon keeps, once no read has used them for 30 s. The
// timer never keeps the process alive.

const { setTimeout } = require('node:timers');

/** Time after which the addon closes an unused connection, in milliseconds. */
const IDLE_MS = 30_000;

let timer;

function start(addon, ms) {
  timer = setTimeout(close, ms, addon);
  timer.unref?.();
}

function close(addon) {
  timer = undefined;
  const left = addon.closeIdleConnections();
  if (left !== null) start(addon, left);
}

/** Makes sure that what a read leaves open is closed in time. */
function closeWhenIdle(addon) {
  if (timer === undefined) start(addon, IDLE_MS);
}

module.exports = { closeWhenIdle };
