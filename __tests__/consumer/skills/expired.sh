#!/bin/bash
# a robot: on exit 2 the tip goes to its human, and it stops
if ! out=$(rhx keyrack get --owner ehmpath --env test --key XAI_API_KEY); then
  echo "$out" | grep 'tip:'
  exit 2
fi
