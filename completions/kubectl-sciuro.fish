# Completes kubectl-sciuro in fish. For `kubectl sciuro` see: kubectl sciuro completion kubectl

function __kubectl_sciuro_complete
    set -l words (commandline --current-process --tokenize --cut-at-cursor)
    set -l current (commandline --current-token --cut-at-cursor)
    set -l flag (string match --regex -- '^-[^=]*=' $current)
    for line in (kubectl-sciuro __complete $words[2..] "$current" 2>/dev/null </dev/null)
        string match --quiet -- ':*' $line; or printf '%s\n' "$flag$line"
    end
end

complete --command kubectl-sciuro --no-files --keep-order --arguments '(__kubectl_sciuro_complete)'
