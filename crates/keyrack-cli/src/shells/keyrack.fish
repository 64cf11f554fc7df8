# Completions of keyrack for fish (3 or later). Put it into ~/.config/fish/completions.

function __keyrack_complete
    set -l current (commandline -ct)
    set -l offered (command keyrack complete words -- (commandline -opc) "$current" 2>/dev/null </dev/null)
    if test "$offered[1]" = ":files"
        __fish_complete_path "$current"
        return
    end
    for line in $offered
        echo $line
    end
end

complete -c keyrack -f -a '(__keyrack_complete)'
