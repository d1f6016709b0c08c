"""MLServer with the tiny model: ``import oip_mlserver; oip_mlserver.serve(port)``, where mlserver is installed."""

import asyncio
import socket

from mlserver import MLModel, MLServer, ModelSettings, Settings
from mlserver.codecs import NumpyCodec
from mlserver.types import InferenceResponse
from oip_model import MODEL, outputs_of


class Tiny(MLModel):
    async def load(self):
        return True

    async def predict(self, payload):
        [tensor] = payload.inputs
        assert tensor.name == "image"
        outputs = outputs_of(NumpyCodec.decode_input(tensor))
        encoded = [NumpyCodec.encode_output(name, value) for name, value in outputs.items()]
        return InferenceResponse(model_name=self.name, outputs=encoded)


def serve(port: int) -> None:
    with socket.socket() as probe:  # gRPC cannot be left out
        probe.bind(("127.0.0.1", 0))
        unused = probe.getsockname()[1]
    settings = Settings(
        host="127.0.0.1", http_port=port, grpc_port=unused, metrics_endpoint=None, parallel_workers=0, debug=False
    )
    asyncio.run(MLServer(settings).start([ModelSettings(name=MODEL, implementation=Tiny)]))
