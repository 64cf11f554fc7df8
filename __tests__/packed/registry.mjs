// A registry that knows keyrack's packages and no others, on this machine alone: what a package
// manager would see after a release. It notes what it was asked for, so that a test can tell which
// tarballs were wanted.

import { createHash } from 'node:crypto';
import { createServer } from 'node:http';
import { gunzipSync } from 'node:zlib';
import { readFileSync } from 'node:fs';

/** A file of a tarball (ustar: 512-byte headers, the name at 0, the size in octal at 124). */
function fileOf(tarball, wanted) {
  const bytes = gunzipSync(tarball);
  const text = (at, length) => bytes.toString('latin1', at, at + length).replace(/\0.*$/s, '');
  for (let at = 0; at + 512 <= bytes.length; ) {
    const size = Number.parseInt(text(at + 124, 12), 8) || 0;
    if (text(at, 100) === wanted) return bytes.subarray(at + 512, at + 512 + size);
    at += 512 + Math.ceil(size / 512) * 512;
  }
  throw new Error(`no ${wanted} in the tarball`);
}

/**
 * @param {{ tarballs: string[], absent: object[] }} what packed tarballs, and manifests of packages
 * whose tarball is nowhere. @returns {Promise<{ url: string, close: () => void }>} `GET /-/asked`
 * answers the paths it was asked for.
 */
export async function serveRegistry({ tarballs, absent }) {
  const files = new Map();
  const packages = new Map();
  const asked = [];
  const server = createServer((request, response) => {
    const path = decodeURIComponent(new URL(request.url, 'http://registry').pathname).slice(1);
    if (path === '-/asked') return response.writeHead(200, { 'content-type': 'application/json' }).end(JSON.stringify(asked));
    asked.push(request.method === 'GET' ? path : `${request.method} ${path}`);
    if (request.method === 'PUT') return void publish(request, response);
    const file = files.get(path);
    if (file) return response.writeHead(200, { 'content-type': 'application/octet-stream' }).end(file);
    const found = packages.get(path);
    if (!found) return response.writeHead(404, { 'content-type': 'application/json' }).end('{"error":"not found"}');
    response.writeHead(200, { 'content-type': 'application/json' }).end(JSON.stringify(found));
  });
  await new Promise((resolve) => server.listen(0, '127.0.0.1', resolve));
  const url = `http://127.0.0.1:${server.address().port}`;
  const add = (manifest, tarball) => {
    const { name, version } = manifest;
    const path = `${name}/-/${name.split('/').at(-1)}-${version}.tgz`;
    if (tarball) files.set(path, tarball);
    const hash = (kind, as) => createHash(kind).update(tarball ?? name).digest(as);
    const dist = { tarball: `${url}/${path}`, integrity: `sha512-${hash('sha512', 'base64')}`, shasum: hash('sha1', 'hex') };
    const time = { created: '2020-01-01T00:00:00.000Z', modified: '2020-01-01T00:00:00.000Z', [version]: '2020-01-01T00:00:00.000Z' };
    packages.set(name, { name, 'dist-tags': { latest: version }, versions: { [version]: { ...manifest, dist } }, time });
  };
  // What npm sends to publish: the manifest and, in base64, its one tarball.
  const publish = async (request, response) => {
    const parts = [];
    for await (const part of request) parts.push(part);
    const { versions, _attachments } = JSON.parse(Buffer.concat(parts).toString('utf8'));
    add(Object.values(versions)[0], Buffer.from(Object.values(_attachments)[0].data, 'base64'));
    response.writeHead(201, { 'content-type': 'application/json' }).end('{}');
  };
  for (const path of tarballs) {
    const tarball = readFileSync(path);
    add(JSON.parse(fileOf(tarball, 'package/package.json')), tarball);
  }
  for (const manifest of absent) add(manifest);
  return { url, close: () => server.close() };
}
