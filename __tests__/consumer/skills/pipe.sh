#!/bin/bash
set -euo pipefail
rhx keyrack get --owner ehmpath --env prep --key XAI_API_KEY --unlock --value | rhx keyrack set --owner ehmpath --env test --key COPIED --vault os.secure --mech PERMANENT_VIA_REPLICA --json | node -e 'process.stdin.toArray().then((all) => console.log(JSON.parse(all.join("")).slug))'
rhx keyrack get --owner ehmpath --env test --key COPIED --unlock --value
