# Completes kubectl-sciuro in bash. For `kubectl sciuro` see: kubectl sciuro completion kubectl

_kubectl_sciuro() {
    local IFS=$'\n'
    local rest=${COMP_LINE:0:COMP_POINT} stripped part line current i
    local words=()
    # bash splits words at = and : too; what was typed without a space in between is one word.
    for ((i = 0; i <= COMP_CWORD; i++)); do
        stripped=${rest#"${rest%%[![:space:]]*}"}
        part=${COMP_WORDS[i]}
        if ((i == COMP_CWORD)); then part=$stripped; fi
        if ((i > 0)) && [[ -n $part && $stripped == "$rest" ]]; then
            words[${#words[@]} - 1]+=$part
        else
            words[${#words[@]}]=$part
        fi
        rest=${stripped#"$part"}
    done
    current=${words[${#words[@]} - 1]}
    # The line has these already, as far as bash is concerned.
    local typed=
    if [[ $current == -*=* ]]; then current=${current#*=}; fi
    if [[ $current == *:* && $COMP_WORDBREAKS == *:* ]]; then typed=${current%"${current##*:}"}; fi

    COMPREPLY=()
    while read -r line; do
        case $line in
            :*)
                if (((${line#:} & 2) != 0)); then compopt -o nospace 2>/dev/null; fi
                ;;
            *)
                line=${line%%$'\t'*}
                COMPREPLY[${#COMPREPLY[@]}]=${line#"$typed"}
                ;;
        esac
    done < <(kubectl-sciuro __complete "${words[@]:1}" 2>/dev/null </dev/null)
}

complete -F _kubectl_sciuro kubectl-sciuro
