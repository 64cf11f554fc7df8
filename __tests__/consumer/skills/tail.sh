#!/bin/bash
TOKEN=$(rhx keyrack get --owner ehmpath --env prep --key EHMPATHY_SEATURTLE_GITHUB_TOKEN --unlock --value 2>/dev/null | tail -1)
echo "token=[$TOKEN]"
