#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# MNN's model converter starts by having the first pip on the PATH install a logging SDK, in whatever environment that is.
#
# Software: MNN 3.6.1, onnx 1.23.2 (Python 3.11).
# Seen: `mnnconvert` of a valid ONNX file runs `pip install -U aliyun-log-python-sdk` when that package is missing, without asking and
#   without a word of it in the help; `pip` is looked up on the PATH, so with env/bin/mnnconvert it may be another environment's,
#   whose packages -U may then replace. Here a stand-in for pip notes its arguments and installs nothing; the conversion succeeds
#   all the same. The module under the command, `_tools`, asks nothing of pip.
# Guess: that a converter installs nothing, and that what it needs for itself stands among its package's dependencies.
# For users: call `_tools.mnnconvert([...])`, as the tests of memkd-edge do, or put the environment's own bin first on the PATH.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv env
env/bin/pip install --quiet --disable-pip-version-check MNN==3.6.1 onnx==1.23.2
env/bin/python - <<'PY'
import onnx
from onnx import TensorProto, helper

value = helper.make_tensor_value_info
graph = helper.make_graph(
    [helper.make_node("Relu", ["x"], ["y"])], "g", [value("x", TensorProto.FLOAT, [1, 4])], [value("y", TensorProto.FLOAT, [1, 4])]
)
model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
onnx.checker.check_model(model, full_check=True)
onnx.save(model, "relu.onnx")
PY
mkdir other
cat > other/pip <<SH
#!/bin/sh
echo "pip \$*" >> "$folder/asked"
exit 1
SH
chmod +x other/pip
convert=(--modelFile relu.onnx --bizCode toy -f ONNX --MNNModel)
touch asked
env/bin/python -c "import sys, MNN, _tools; _tools.mnnconvert(['mnnconvert', *sys.argv[1:]])" "${convert[@]}" module.mnn > /dev/null
echo "the module, asked of pip: '$(sort -u asked)'; wrote $(stat -c %s module.mnn) bytes"
[ ! -s asked ]
PATH="$folder/other:$PATH" env/bin/mnnconvert "${convert[@]}" command.mnn > said 2>&1
echo "the command, asked of pip: '$(sort -u asked)'; wrote $(stat -c %s command.mnn) bytes"
[ "$(sort -u asked)" = "pip install -U aliyun-log-python-sdk" ] || { echo "the behaviour has changed"; exit 1; }
[ -s module.mnn ] && [ -s command.mnn ]
