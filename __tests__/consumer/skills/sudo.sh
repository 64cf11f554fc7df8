#!/bin/bash
set -e
eval "$(rhx keyrack source --key ROOT_TOKEN --env sudo --owner admin)"
echo "root=[$ROOT_TOKEN]"
