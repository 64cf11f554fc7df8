#!/bin/bash
# a value or nothing
AWS_PROFILE=$(rhx keyrack get --owner ehmpath --env "$ENV" --key AWS_PROFILE --value || echo "")
echo "profile=[$AWS_PROFILE]"
