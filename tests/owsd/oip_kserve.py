"""KServe's Python server with the tiny model: ``import oip_kserve; oip_kserve.serve(port)``, where it is installed."""

import kserve
from oip_model import MODEL, outputs_of


class Tiny(kserve.Model):
    def load(self):
        self.ready = True
        return True

    def predict(self, payload, headers=None, response_headers=None):
        [tensor] = payload.inputs
        assert tensor.name == "image"
        outputs = []
        for name, value in outputs_of(tensor.as_numpy()).items():
            outputs.append(kserve.InferOutput(name, list(value.shape), "FP32"))
            outputs[-1].set_data_from_numpy(value, binary_data=False)
        return kserve.InferResponse(payload.id or "none", MODEL, outputs)


def serve(port: int) -> None:
    model = Tiny(MODEL)
    model.load()
    kserve.ModelServer(http_port=port, enable_grpc=False, workers=1).start([model])
