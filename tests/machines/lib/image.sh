# shellcheck shell=bash
# An image made by hand: none can be pulled, there is no way out of the machines' network. Uses: $base.

# The tags under which the one image is there: the pause container, and what pods and our helpers run.
images=(sciuro.test/pause:1 registry.example/c:1 "$(sed -n '/DEFAULT_IMAGE: &str =/,/;$/s/^.*"\(.*\)";/\1/p' "$machines/../../src/remedy/reboot/helper.rs")")

# An archive as docker save makes it, of one layer with busybox. What it runs ends when it is told to: the first process of a container
# ignores a SIGTERM that it has no handler for (pid_namespaces(7)).
make_image() { # FILE [FOLDER]: with what is in the folder, too
  local work layer name tags busybox=$base/tools/bin/busybox
  work=$(mktemp --directory)
  mkdir -p "$work/layer"/{bin,tmp,proc,sys,dev,etc} "$work/image"
  cp "$busybox" "$work/layer/bin/busybox"
  for name in $("$busybox" --list); do [[ $name == busybox ]] || ln -s busybox "$work/layer/bin/$name"; done
  printf 'root:x:0:0:root:/:/bin/sh\n' >"$work/layer/etc/passwd"
  chmod 1777 "$work/layer/tmp"
  [[ ! ${2:-} ]] || cp -R "$2/." "$work/layer"
  tar --create --directory "$work/layer" --owner 0 --group 0 --mtime @0 --sort name --file "$work/image/layer.tar" .
  layer=$(sha256sum "$work/image/layer.tar" | cut --delimiter ' ' --fields 1)
  printf '{"architecture":"%s","os":"linux","config":{"Entrypoint":["/bin/sh","-c","trap exit TERM; sleep infinity & wait"],"Env":["PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"]},"rootfs":{"type":"layers","diff_ids":["sha256:%s"]},"history":[]}' \
    "$(dpkg --print-architecture)" "$layer" >"$work/image/config.json"
  tags=$(printf '"%s",' "${images[@]}")
  printf '[{"Config":"config.json","RepoTags":[%s],"Layers":["layer.tar"]}]' "${tags%,}" >"$work/image/manifest.json"
  tar --create --directory "$work/image" --file "$1" manifest.json config.json layer.tar
  rm -rf "$work"
}
