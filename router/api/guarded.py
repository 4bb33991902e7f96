"""Endpoints that need a right: a router checks it before any of them is entered."""

from __future__ import annotations

from fastapi import APIRouter, Depends
from starlette.requests import Request

from router.keys.access import check_admin, check_operator


def for_admins() -> APIRouter:
    """A router whose endpoints need an admin's key."""
    return APIRouter(dependencies=[Depends(_admin)])


def for_operators() -> APIRouter:
    """A router whose endpoints need an admin's key where there are keys."""
    return APIRouter(dependencies=[Depends(_operator)])


async def _admin(request: Request) -> None:
    check_admin(request.scope.get("key"))


async def _operator(request: Request) -> None:
    check_operator(request.scope.get("key"))
