# Completion of assay(1) for bash. Commands, actions and options are asked of assay itself.
_assay() {
    local word=${COMP_WORDS[COMP_CWORD]} prev=${COMP_WORDS[COMP_CWORD-1]} assay=${COMP_WORDS[0]} words=
    local -a at=("${COMP_WORDS[@]:1:COMP_CWORD-1}")
    COMPREPLY=()
    case $prev in
    --subject) words="$("$assay" devices 2>/dev/null | grep -v '^ ' | cut -d: -f1 | sort -u) reference" ;;
    --type) words=$("$assay" test --list decode 2>/dev/null | grep -v '^#' | cut -d. -f2 | sort -u) ;;
    --table) words="cases bench" ;;
    esac
    if [[ -z $words ]]; then
        if ((COMP_CWORD == 1)); then
            words="$("$assay" --help 2>/dev/null | sed -n 's/^  \([a-z][a-z]*\)  .*/\1/p') --help --version"
        elif [[ ${at[0]} == report ]] && ((COMP_CWORD == 2)); then
            words="$("$assay" report --help 2>/dev/null | sed -n 's/^  \([a-z][a-z]*\)  *[A-Z].*/\1/p') --help"
        elif [[ $word == -* ]]; then
            [[ ${at[0]} == report ]] && at=(report "${at[1]}") || at=("${at[0]}")
            words="$("$assay" "${at[@]}" --help 2>/dev/null | sed -n 's/^  \(-.*\)/ \1/p' | grep -oE '^ (-[a-z], )?--?[a-z][a-z-]*' | grep -oE -- '--?[a-z][a-z-]*' | sort -u) --help"
        elif [[ ${at[0]} == test ]]; then
            words=$("$assay" test --list 2>/dev/null | grep -v '^#' | cut -d. -f1,2 | sort -u)
        fi
    fi
    if [[ -n $words ]]; then
        mapfile -t COMPREPLY < <(compgen -W "$words" -- "$word")
    else
        compopt -o default 2>/dev/null
    fi
}
complete -F _assay assay
