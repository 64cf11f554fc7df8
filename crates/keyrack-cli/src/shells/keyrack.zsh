#compdef keyrack
# Completions of keyrack for zsh. Put it as `_keyrack` into a directory of $fpath, or source it after compinit.

_keyrack() {
  local word about
  local -i width=0 at
  local -a offered abouts described
  while IFS=$'\t' read -r word about; do
    if [[ $word == :files ]]; then
      _files
      return
    fi
    offered+=("$word")
    abouts+=("$about")
    (( $#word > width )) && width=$#word
  done < <(command keyrack complete words -- "${(@Q)words[1,CURRENT]}" 2>/dev/null </dev/null)
  (( $#offered )) || return 1
  for (( at = 1; at <= $#offered; at++ )); do
    described+=("${(r:width:)offered[at]}  ${abouts[at]}")
  done
  compadd -l -d described -- "${offered[@]}"
}

if [[ ${funcstack[1]-} == _keyrack ]]; then
  _keyrack "$@"
else
  compdef _keyrack keyrack
fi
