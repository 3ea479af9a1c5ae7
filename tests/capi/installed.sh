#!/usr/bin/env bash
# Installs the static library into a folder, moves the folder, and builds and runs a C and a C++ program against it: by
# find_package, and by the flags that pkg-config gives. CMake's ctest calls it.
#
# usage: installed.sh BUILD_FOLDER LIBDIR CC CXX [EMULATOR...]    LIBDIR is CMAKE_INSTALL_LIBDIR
set -euo pipefail
build=$1 libdir=$2 cc=$3 cxx=$4
shift 4
run=("$@") # which may be empty: macOS's bash wants the + form below
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
work=$build/installed-test
rm -rf "$work"

cmake --install "$build" --prefix "$work/first" >/dev/null
mv "$work/first" "$work/moved" # nothing in it may know where it was
if grep -rIl -e "$work/first" -e "$build" "$work/moved" --include='*.pc' --include='*.cmake' | grep .; then
    echo "FAIL: the files above name the folder in which the library was built" >&2
    exit 1
fi

echo "== find_package"
toolchain=$(sed -n 's/^CMAKE_TOOLCHAIN_FILE:[A-Z]*=//p' "$build/CMakeCache.txt")
cmake -S "$here/package" -B "$work/package" -DCMAKE_BUILD_TYPE=Release -DBgevl_DIR="$work/moved/$libdir/cmake/Bgevl" \
    -DCMAKE_C_COMPILER="$cc" -DCMAKE_CXX_COMPILER="$cxx" ${toolchain:+-DCMAKE_TOOLCHAIN_FILE="$toolchain"} >/dev/null
cmake --build "$work/package" >/dev/null
${run[@]+"${run[@]}"} "$work/package/in_c"
${run[@]+"${run[@]}"} "$work/package/in_cpp"

echo "== pkg-config"
if ! command -v pkg-config >/dev/null; then
    echo "pkg-config is not installed: that way was not tried (tools/setup.sh installs it)" >&2
    [ "${BGEVL_REQUIRE:-}" != 1 ]
    exit
fi
export PKG_CONFIG_PATH=$work/moved/$libdir/pkgconfig
read -ra cflags < <(pkg-config --cflags bgevl)
read -ra libs < <(pkg-config --libs bgevl)
"$cc" -std=c11 "${cflags[@]}" "$here/capi_test.c" -o "$work/in_c" "${libs[@]}"
"$cxx" -std=c++17 "${cflags[@]}" "$here/installed_test.cpp" -o "$work/in_cpp" "${libs[@]}"
${run[@]+"${run[@]}"} "$work/in_c"
${run[@]+"${run[@]}"} "$work/in_cpp"
