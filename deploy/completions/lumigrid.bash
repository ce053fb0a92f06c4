# Completion of lumigrid, lumigrid-coordinator and lumigrid-worker, in bash and by bashcompinit in zsh. What there is, the programs' own
# help says: commands stand in its columns 3 to 36, options begin its lines.
_lumigrid_complete() {
    local current=${COMP_WORDS[COMP_CWORD]} words=() word
    for word in "${COMP_WORDS[@]:1:$((COMP_CWORD - 1))}"; do [[ $word == -* ]] || words+=("$word"); done
    if [[ $current == -* ]]; then
        COMPREPLY=($(compgen -W "$("$1" "${words[@]:0:2}" --help 2>/dev/null | grep -oE '^  --[a-z-]+|, --[a-z-]+' | tr -d ' ,')" -- "$current"))
    else
        COMPREPLY=($(compgen -W "$("$1" --help 2>/dev/null | awk -v given="${words[*]}" -v count="${#words[@]}" '
            /^tools: / && count == 0 { $1 = ""; print }
            /^  [a-z]/ {
                parts = split(substr($0, 3, 34), part, " ")
                line = ""
                for (i = 1; i <= count; i++) line = line (i > 1 ? " " : "") part[i]
                if (line == given && parts > count && part[count + 1] ~ /^[a-z][a-z-]*$/) print part[count + 1]
            }')" -- "$current"))
    fi
}
complete -o default -F _lumigrid_complete lumigrid lumigrid-coordinator lumigrid-worker
