"""The OpenAPI description of what `edge serve` answers; a test holds the two together."""

from __future__ import annotations

from typing import Any

Object = dict[str, Any]

_NUMBER: Object = {"type": "number"}
_TEXT: Object = {"type": "string"}
_WHOLE: Object = {"type": "integer", "minimum": 0}
_SHARE: Object = {"type": "number", "minimum": 0, "maximum": 1}
_FLAG: Object = {"type": "boolean"}


def _or_null(schema: Object) -> Object:
    return {"anyOf": [schema, {"type": "null"}]}


def _list(schema: Object, **limits: int) -> Object:
    return {"type": "array", "items": schema, **limits}


def _object(
    properties: Object, *, optional: tuple[str, ...] = (), closed: bool = False
) -> Object:  # fmt: skip
    required = [name for name in properties if name not in optional]
    more: Object = {"additionalProperties": False} if closed else {}
    return {"type": "object", "properties": properties, "required": required, **more}


def _ref(name: str) -> Object:
    return {"$ref": f"#/components/schemas/{name}"}


_THRESHOLDS = {"conf": _or_null(_SHARE), "action_conf": _or_null(_SHARE)}
_SCHEMAS: Object = {
    "Error": _object({"error": _TEXT}),
    "Health": _object({"status": {"enum": ["ok", "failing"]}}),
    "Info": _object(
        {
            "version": _TEXT, "model": _TEXT, "artifact": _TEXT, "trained": _FLAG,
            "class_names": _list(_TEXT), "stride_s": _NUMBER, "started": _NUMBER, "login": _FLAG,
        }
    ),
    "Thresholds": {
        **_object(_THRESHOLDS, optional=("conf", "action_conf"), closed=True),
        "minProperties": 1,
    },
    "Camera": _object(
        {
            "name": _TEXT,
            "source": {"type": "string", "description": "without secrets"},
            "state": {"enum": ["connecting", "warming_up", "running", "stale", "lost"]},
            "message": _TEXT,
            "retry_in_s": _or_null(_NUMBER),
            "results": _WHOLE,
            "results_per_s": _NUMBER,
            "latency_ms": _or_null(_NUMBER),
            "latency_p95_ms": _or_null(_NUMBER),
            "dropped_frames": _WHOLE,
            "dropped_clips": _WHOLE,
            "reconnects": _WHOLE,
            "fps": _or_null(_NUMBER),
            "size_wh": _or_null(_list(_WHOLE, minItems=2, maxItems=2)),
            "samples": _WHOLE,
            "num_frames": _WHOLE,
            "conf": _SHARE,
            "action_conf": _or_null(_SHARE),
            "configured": _object(_THRESHOLDS),
            "classes": _list(_TEXT),
            "region": _list(_list(_SHARE, minItems=2, maxItems=2)),
            "delay_s": _NUMBER,
        }
    ),
    "Result": _object(
        {
            "number": _WHOLE, "camera": _TEXT, "time": _NUMBER, "frame": _WHOLE, "t": _NUMBER,
            "keyframe": _WHOLE, "keyframe_t": _NUMBER, "latency_ms": _NUMBER,
            "detections": _list(
                _object(
                    {
                        "xyxy": _list(_NUMBER, minItems=4, maxItems=4),
                        "actor": _SHARE,
                        "actions": {"type": "object", "additionalProperties": _SHARE},
                        "person": _or_null(_WHOLE),
                    }
                )
            ),
            "trained": {"const": False},
        },
        optional=("trained",),
    ),
    "Action": _object(
        {
            "event_id": _TEXT, "camera": _TEXT, "phase": {"enum": ["begin", "continue", "end"]},
            "action": _TEXT, "person": _WHOLE, "score": _SHARE,
            "box": _list(_SHARE, minItems=4, maxItems=4), "started": _NUMBER, "time": _NUMBER,
            "duration_s": _NUMBER, "ended": _FLAG,
        }
    ),
}  # fmt: skip


def _json(schema: Object, text: str) -> Object:
    return {"description": text, "content": {"application/json": {"schema": schema}}}


def _bytes(kind: str, text: str) -> Object:
    return {"description": text, "content": {kind: {"schema": {"type": "string"}}}}


_ERRORS = {
    400: "The body is no JSON",
    401: "The token is missing or wrong",
    403: "The request comes from a page of another server",
    404: "There is no such camera",
    409: "The camera has given no frame yet",
    413: "The request is too large",
    415: "The body is not application/json",
    421: "The Host header names another server",
    422: "A value is out of range",
    429: "Too many wrong tokens",
    503: "Not now",
}
_ANY = (401, 403, 413, 421, 429)


def _get(answer: Object, *errors: int, parameters: tuple[Object, ...] = (), **more: Any) -> Object:
    responses = {"200": answer}
    for status in sorted({*_ANY, *errors}):
        responses[str(status)] = _json(_ref("Error"), _ERRORS[status])
    return {"parameters": list(parameters), "responses": responses, **more}


def _query(name: str, schema: Object, text: str) -> Object:
    return {"name": name, "in": "query", "required": False, "schema": schema, "description": text}


_NAME = {"name": "name", "in": "path", "required": True, "schema": _TEXT, "description": "camera"}
_CAMERA = _query("camera", _TEXT, "only this camera")
_CAMERAS = _query("camera", _list(_TEXT), "only these cameras")
_KINDS = _query("kind", _list({"enum": ["result", "action", "cameras"]}), "only these kinds")


def _limit(default: int, most: int) -> Object:
    schema = {"type": "integer", "minimum": 1, "maximum": most, "default": default}
    return _query("limit", schema, "at most so many")


def _since(text: str) -> Object:
    return _query("since", {**_WHOLE, "maximum": 2**53}, text)


_JPEG = "multipart/x-mixed-replace; boundary=edge-frame"
_NUMBERED = _object({"results": _list(_ref("Result")), "next": _WHOLE})
_PATHS: Object = {
    "/healthz": {
        "get": {
            "summary": "Whether the service works; needs no token",
            "responses": {
                "200": _json(_ref("Health"), "It does"),
                **{
                    str(status): _json(_ref("Error"), _ERRORS[status])
                    for status in (403, 413, 421)
                },
                "503": _json(_ref("Health"), "It does not"),
            },
        }
    },
    "/metrics": {
        "get": _get(_bytes("text/plain; version=0.0.4", "Prometheus' exposition"),
                    summary="Metrics")
    },
    "/api/info": {"get": _get(_json(_ref("Info"), "It"), summary="What is served")},
    "/api/cameras": {
        "get": _get(_json(_object({"cameras": _list(_ref("Camera"))}), "All of them"),
                    summary="How the cameras are")
    },
    "/api/cameras/{name}": {
        "get": _get(_json(_ref("Camera"), "It"), 404, parameters=(_NAME,),
                    summary="How one camera is")
    },
    "/api/cameras/{name}/threshold": {
        "patch": _get(
            _json(_ref("Camera"), "The camera with them"), 400, 404, 415, 422,
            parameters=(_NAME,), summary="Move thresholds; null: as configured",
            requestBody={
                "required": True,
                "content": {"application/json": {"schema": _ref("Thresholds")}},
            },
        )
    },
    "/api/cameras/{name}/snapshot.jpg": {
        "get": _get(_bytes("image/jpeg", "The newest frame, in its own size"), 404, 409,
                    parameters=(_NAME,), summary="A picture")
    },
    "/api/cameras/{name}/stream": {
        "get": _get(_bytes(_JPEG, "Raw frames until the client goes"), 404, 503,
                    parameters=(_NAME,), summary="Pictures of one camera")
    },
    "/api/stream": {
        "get": _get(_bytes(_JPEG, "Raw frames; X-Camera says of which"), 404, 503,
                    parameters=(_CAMERAS,), summary="Pictures of several cameras")
    },
    "/api/results": {
        "get": _get(
            _json(_NUMBERED, "Oldest first; `next` is the next `since`"), 404, 422,
            parameters=(_since("number after which to begin"), _CAMERA, _limit(100, 1000)),
            summary="The last results",
        )
    },
    "/api/actions": {
        "get": _get(
            _json(_object({"actions": _list(_ref("Action"))}), "In order of their last news"),
            404, 422,
            parameters=(_since("Unix seconds; else an hour ago"), _CAMERA, _limit(1000, 2000)),
            summary="The actions of the last hour",
        )
    },
    "/events": {
        "get": _get(
            _bytes("text/event-stream", "`result`, `action` and `cameras` until the client goes"),
            404, 422, 503, parameters=(_CAMERAS, _KINDS),
            summary="Events as they happen: SSE, or a WebSocket with the same objects",
        )
    },
}  # fmt: skip


def description(version: str) -> Object:
    """Return the document."""
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "edge serve",
            "version": version,
            "description": "Who acts in front of the cameras, and what they do.",
        },
        "security": [{"token": []}, {"session": []}, {}],
        "paths": _PATHS,
        "components": {
            "schemas": _SCHEMAS,
            "securitySchemes": {
                "token": {"type": "http", "scheme": "bearer"},
                "session": {"type": "apiKey", "in": "cookie", "name": "edge_session"},
            },
        },
    }
