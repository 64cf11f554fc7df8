#!/bin/bash
set -euo pipefail
rhx keyrack unlock --owner ehmpath --env test >/dev/null 2>&1
rhx keyrack status --owner ehmpath --json | node -e 'process.stdin.toArray().then((all) => console.log(JSON.parse(all.join("")).keys.map((key) => key.slug).join(" ")))'
