"""`sdcreative serve`: Riffusion's HTTP endpoint."""

from __future__ import annotations

from pathlib import Path

import click

from .access import ORIGINS, Access, listen


def serve_command() -> click.Command:
    """The command."""

    @click.command("serve", short_help="make music for Riffusion's web app, over HTTP")
    @click.option("--model", default="riff", show_default=True, metavar="NAME",
                  help="Built-in name, folder, or hub id.")  # fmt: skip
    @click.option("--host", default="127.0.0.1", show_default=True, metavar="NAME",
                  help="Where to listen; 0.0.0.0 lets other machines in.")  # fmt: skip
    @click.option("--port", type=click.IntRange(0, 65_535), default=3013, show_default=True,
                  help="0 takes any that is free.")  # fmt: skip
    @click.option("--queue", type=click.IntRange(0, 1000), default=8, show_default=True,
                  help="Requests that wait while one is answered; more are refused.")  # fmt: skip
    @click.option("--seed-images", metavar="FOLDER",
                  type=click.Path(exists=True, file_okay=False, path_type=Path),
                  help="PNG and JPEG spectrograms and masks; named as their ids.")  # fmt: skip
    @click.option("--allow-origin", "origins", multiple=True, default=ORIGINS, show_default=True,
                  metavar="ORIGIN", help="Web pages that may ask; may be repeated.")  # fmt: skip
    @click.option("--device", default="auto", show_default=True, metavar="NAME",
                  help="auto, cpu, cuda, cuda:1 or mps.")  # fmt: skip
    @click.option("--offline", is_flag=True, help="Never ask the model hub.")
    def serve(
        model: str,
        host: str,
        port: int,
        queue: int,
        seed_images: Path | None,
        origins: tuple[str, ...],
        device: str,
        offline: bool,
    ) -> None:
        """Answer POST /run_inference/ as Riffusion's server does, until Ctrl-C.

        riffusion-app plays what comes: set RIFFUSION_FLASK_URL to the address that is printed.
        """
        access = Access.of(host, origins)
        listener = listen(host, port)
        try:
            from .riffing import StudioRiffer
            from .server import RiffServer

            riffer = StudioRiffer.load(model, device=device, offline=offline, folder=seed_images)
            server = RiffServer(listener, access, riffer, queue, click.echo)
        except BaseException:
            listener.close()
            raise
        name = f"[{host.strip('[]')}]" if ":" in host else host
        address = f"http://{name}:{server.server_address[1]}/run_inference/"
        if not access.is_local:
            click.echo(f"warning: whoever can reach {host} may use this", err=True)
        click.echo(f"{model} answers on {address}; Ctrl-C ends it")
        server.run()

    return serve
