# Sourced by scripts that run tests in an environment of their own.
#
# environment FOLDER CONSTRAINTS REQUIREMENT...: makes it with $PYTHON, anew whenever one of these has changed.
environment() {
    local folder=$1 constraints=$2 wanted
    shift 2
    wanted="$*, $(cksum <"$constraints")"
    if [ "$(cat "$folder/.installed" 2>/dev/null)" != "$wanted" ]; then
        "${PYTHON:-python3}" -m venv --clear "$folder"
        "$folder/bin/python" -m pip install --quiet --disable-pip-version-check -c "$constraints" "$@"
        echo "$wanted" >"$folder/.installed"
    fi
}
