"""The whole configuration as one model."""

from __future__ import annotations

from typing import Any, Self

from pydantic import Field, model_validator
from pydantic.fields import FieldInfo
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource, SettingsConfigDict

from agent.settings.links import Link
from agent.settings.tables import (
    Audio,
    Brightness,
    Camera,
    Control,
    Device,
    Hardware,
    Log,
    Media,
    Playback,
    Screen,
    Update,
    Voice,
)
from agent.settings.values import Name

DEFAULT_SCREEN = "front"


class Settings(BaseSettings):
    """What the owner of the box wants; made by `load_settings`.

    `Settings()` is the configuration of an empty file: it reads neither files nor the environment.
    """

    model_config = SettingsConfigDict(strict=True, frozen=True, extra="forbid")

    device: Device = Device()
    log: Log = Log()
    media: Media = Media()
    playback: Playback = Playback()
    screens: dict[Name, Screen] = Field(default_factory=lambda: {DEFAULT_SCREEN: Screen()})
    """Never empty; the first is the default screen."""
    audio: Audio = Audio()
    voice: Voice = Voice()
    brightness: Brightness = Brightness()
    hardware: Hardware = Hardware()
    camera: Camera = Camera()
    update: Update = Update()
    control: Control = Control()
    links: list[Link] = Field(default_factory=list)

    @property
    def first_screen(self) -> str:
        """Name of the screen that is meant where none is named."""
        return next(iter(self.screens))

    @classmethod
    def from_layers(cls, layers: list[dict[str, Any]]) -> Self:
        """The settings that several sources give together, the highest first. Raises pydantic.ValidationError."""
        arguments: dict[str, Any] = {"layers": layers}
        return cls(**arguments)

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """The sources are those of `from_layers`, if it was called; else the arguments alone."""
        del env_settings, dotenv_settings, file_secret_settings
        arguments: dict[str, Any] = getattr(init_settings, "init_kwargs", {})
        layers = arguments.get("layers")
        if layers is None:
            return (init_settings,)
        return tuple(_Tables(settings_cls, tables) for tables in layers)

    @model_validator(mode="before")
    @classmethod
    def _fill_in(cls, data: Any) -> Any:
        """The defaults that depend on something else: the name and screen of a link, the sound of a screen."""
        if not isinstance(data, dict):
            return data
        data = dict(data)
        screens = data.get("screens")
        if screens is None or screens == {}:
            screens = {DEFAULT_SCREEN: {}}
        if isinstance(screens, dict):
            data["screens"] = {
                name: {"sound": place == 0, **screen} if isinstance(screen, dict) else screen
                for place, (name, screen) in enumerate(screens.items())
            }
        links = data.get("links", [])
        if isinstance(links, dict):
            links = [links[position] for position in sorted(links, key=int)]
        if isinstance(links, list):
            first = next(iter(screens)) if isinstance(screens, dict) else DEFAULT_SCREEN
            data["links"] = [
                {"name": link.get("kind", ""), "screen": first, **link} if isinstance(link, dict) else link for link in links
            ]
        return data


class _Tables(PydanticBaseSettingsSource):
    def __init__(self, settings_cls: type[BaseSettings], tables: dict[str, Any]) -> None:
        super().__init__(settings_cls)
        self._tables = tables

    def get_field_value(self, field: FieldInfo, field_name: str) -> tuple[Any, str, bool]:
        del field
        return self._tables.get(field_name), field_name, True

    def __call__(self) -> dict[str, Any]:
        return self._tables
