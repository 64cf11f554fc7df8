/**
 * The absolute path of a binary of this package.
 *
 * @param name `'keyrack'`, the command (default), or `'keyrackd'`, the daemon.
 * @throws {KeyrackError} `binding_missing` when the native part is not installed, `unsupported_platform` when there is none for this machine.
 */
export function binaryPath(name?: 'keyrack' | 'keyrackd'): string;
