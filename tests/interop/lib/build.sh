# shellcheck shell=bash
# Builds the others from clones of their repositories, and ours. Uses: $checkout, $work, $sources, $binary, say, die.

sources=${XDG_CACHE_HOME:-$HOME/.cache}/kubectl-sciuro/interop

# The commit of kured that docs/ speaks of.
kured=51220cc

fail() { die 1 "$*"; }

build() { # NAME REPOSITORY COMMIT PACKAGE [FLAG...]
  local name=$1 repository=$2 commit=$3 package=$4 source=$sources/$1
  shift 4
  [[ ! -x $work/$name ]] || return 0
  [[ -d $source/.git ]] || git clone --quiet "https://github.com/$repository" "$source" || die 3 "$repository cannot be cloned"
  git -C "$source" checkout --quiet --detach "$commit" || die 3 "$source has no commit $commit"
  say "building $name at $commit"
  env -C "$source" GOTOOLCHAIN=local GOWORK=off CGO_ENABLED=0 go build -buildvcs=false "$@" -o "$work/$name" "$package" ||
    die 3 "$name cannot be built, see above"
}

build_kured() { build kured kubereboot/kured "$kured" ./cmd/kured -ldflags '-s -w'; }

build_ours() {
  [[ ! $binary ]] || return 0
  cargo build --quiet --locked --manifest-path "$checkout/Cargo.toml"
  binary=$checkout/target/debug/kubectl-sciuro
}
