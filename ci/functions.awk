# Functions that are too long or take too many arguments; for ci/style. Reads sources as clang-format lays
# them out: a definition's brace and its end stand in the first column. Prints "FILE NAME LINES lines" and
# "FILE NAME PARAMETERS parameters" for what is above the limits -v lines=60 -v parameters=5.
FNR == 1 { head = ""; inside = 0 }
inside && /^}/ {
    n = FNR - first + 1
    if (n > lines) print FILENAME, name, n, "lines"
    inside = 0; head = ""; next
}
inside { next }
/^[#\/ ]?$/ || /^(#|\/\/|\/\*| \*|})/ || /;$/ { head = ""; next }
/^{$/ {
    if (head ~ /\)[^;=]*$/ && head ~ /[a-z_0-9]+\(/) {
        name = head; sub(/\(.*/, "", name); sub(/.*[ *]/, "", name)
        list = head; sub(/^[^(]*\(/, "", list); depth = 0; n = 1
        for (i = 1; i <= length(list); i++) {
            c = substr(list, i, 1)
            if (c == "(") depth++
            if (c == ")" && --depth < 0) break
            if (c == "," && depth == 0) n++
        }
        if (list ~ /struct err \*e\)/) n-- # the one that every fallible function ends with
        if (n > parameters) print FILENAME, name, n, "parameters"
        inside = 1; first = FNR
    }
    next
}
{ head = head " " $0 }
