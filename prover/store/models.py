"""The tables of uploaded models, their owners, and what other tenants may do with them."""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa

from prover.errors import ModelNotForOthers, ModelNotFound
from prover.records.job import ModelRecord, ModelVisibility
from prover.store.database import Repository
from prover.store.filters import NO_FILTER, Filter
from prover.store.insert import insert_if_absent
from prover.store.pages import Page, rows_of_page
from prover.store.schema import model_holders, models

_SEEN = model_holders.c.visibility != ModelVisibility.PRIVATE.value


class Models(Repository):
    """Models by id; a model's content is immutable. Several tenants may have the same bytes, each
    with its own name and date. A tenant sees its own models and those that others share; for equal
    bytes its own takes precedence, then the first shared."""

    def add_model(self, record: ModelRecord) -> ModelRecord:
        """Adds the model, or returns the tenant's existing one: equal bytes have the same id."""
        with self._db.write() as conn:
            insert_if_absent(
                conn,
                models,
                id=record.id,
                size_bytes=record.size_bytes,
                signature=record.signature,
                summary=record.summary,
                created_at=record.created_at,
            )
            insert_if_absent(
                conn,
                model_holders,
                tenant=self._owner,
                model_id=record.id,
                name=record.name,
                created_at=record.created_at,
                metadata=record.metadata or None,
            )
            return _record(conn.execute(self._own(record.id)).one(), tenant=self.tenant)

    def model(self, model_id: str) -> ModelRecord:
        """The tenant's own model, or a shared one. Raises ``ModelNotFound``."""
        query = _BY_ID if self.tenant is None else _MINE_BY_ID
        with self._db.read() as conn:
            row = conn.execute(query, {"id": model_id, "tenant": self.tenant}).one_or_none()
            if row is None and self.tenant is not None:
                row = conn.execute(_shown(model_id)).one_or_none()
        if row is None:
            raise _not_found(model_id)
        return _record(row, tenant=self.tenant)

    def own_model(self, model_id: str) -> ModelRecord:
        """Raises ``ModelNotFound``, also for another tenant's shared model."""
        with self._db.read() as conn:
            row = conn.execute(self._own(model_id)).one_or_none()
        if row is None:
            raise _not_found(model_id)
        return _record(row, tenant=self.tenant)

    def models(
        self, limit: int = 50, cursor: str | None = None, *, where: Filter = NO_FILTER
    ) -> Page[ModelRecord]:
        """The tenant's own models, newest first. Raises ``CursorInvalid``."""
        return self._page(_held().where(*self._mine(model_holders)), limit, cursor, where)

    def public_models(
        self, limit: int = 50, cursor: str | None = None, *, where: Filter = NO_FILTER
    ) -> Page[ModelRecord]:
        """All tenants' public models, newest first. Raises ``CursorInvalid``."""
        public = model_holders.c.visibility == ModelVisibility.PUBLIC.value
        # Other tenants' metadata is neither shown nor searched.
        mine = sa.true() if not where.metadata else model_holders.c.tenant == self._owner
        return self._page(_held().where(public, mine), limit, cursor, where)

    def models_named(self, name: str) -> list[ModelRecord]:
        """The tenant's own models of this name, newest first."""
        query = _held().where(model_holders.c.name == name, *self._mine(model_holders))
        query = query.order_by(model_holders.c.created_at.desc(), models.c.id)
        with self._db.read() as conn:
            return [_record(row, tenant=self.tenant) for row in conn.execute(query)]

    def change_model(
        self,
        model_id: str,
        *,
        visibility: ModelVisibility | None = None,
        others_may_prove: bool | None = None,
        licence: str | None = None,
    ) -> ModelRecord:
        """Changes what other tenants may do with an own model. A new licence removes the owner's
        signature, which covers the old one. Raises ``ModelNotFound``."""
        now = self._now()
        with self._db.write() as conn:
            row = conn.execute(self._own(model_id).with_for_update()).one_or_none()
            if row is None:
                raise _not_found(model_id)
            values: dict[str, Any] = {}
            if visibility is not None:
                values["visibility"] = visibility.value
                if visibility is ModelVisibility.PRIVATE:
                    values["published_at"] = None
                elif row.visibility == ModelVisibility.PRIVATE.value:
                    values["published_at"] = now
            if others_may_prove is not None:
                values["others_may_prove"] = others_may_prove
            if licence is not None and licence != row.licence:
                values |= {"licence": licence, "owner_signature": None}
            if values:
                self._change(conn, model_id, values)
            return _record(conn.execute(self._own(model_id)).one(), tenant=self.tenant)

    def sign_model(self, model_id: str, signature: dict[str, Any], licence: str) -> ModelRecord:
        """Stores the owner's signature, after it was verified for this licence.

        Raises ``ModelNotFound``, also if the licence has changed meanwhile.
        """
        with self._db.write() as conn:
            same = model_holders.c.licence == licence
            if not self._change(conn, model_id, {"owner_signature": signature}, same):
                raise _not_found(model_id)
            return _record(conn.execute(self._own(model_id)).one(), tenant=self.tenant)

    def _change(
        self,
        conn: sa.Connection,
        model_id: str,
        values: dict[str, Any],
        *where: sa.ColumnElement[bool],
    ) -> int:
        own = (model_holders.c.tenant == self._owner, model_holders.c.model_id == model_id)
        return conn.execute(sa.update(model_holders).where(*own, *where).values(values)).rowcount

    def _page(
        self, query: sa.Select[Any], limit: int, cursor: str | None, where: Filter
    ) -> Page[ModelRecord]:
        with self._db.read() as conn:
            rows, after = rows_of_page(
                conn,
                query.where(*where.on(model_holders)),
                model_holders.c.model_id,
                model_holders.c.created_at,
                limit=limit,
                cursor=cursor,
            )
        return Page(items=[_record(row, tenant=self.tenant) for row in rows], next_cursor=after)

    def _own(self, model_id: str) -> sa.Select[Any]:
        query = _held().where(models.c.id == model_id, *self._mine(model_holders))
        return query.order_by(model_holders.c.created_at).limit(1)


def require_model(conn: sa.Connection, tenant: str, model_id: str) -> None:
    """Raises ``ModelNotFound`` unless ``tenant`` sees the model, ``ModelNotForOthers`` if its owner
    does not let others prove it."""
    if conn.scalar(_HOLDS, {"tenant": tenant, "id": model_id}) is not None:
        return
    shown = conn.execute(_shown(model_id)).one_or_none()
    if shown is None:
        raise _not_found(model_id)
    if not shown.others_may_prove:
        raise ModelNotForOthers(model=model_id)


def owner_of(conn: sa.Connection, tenant: str, model_id: str) -> str:
    """The owner of the model that ``tenant`` uses: itself, or the first to share it."""
    if conn.scalar(_HOLDS, {"tenant": tenant, "id": model_id}) is not None:
        return tenant
    shown = conn.execute(_shown(model_id)).one_or_none()
    return tenant if shown is None else str(shown.tenant)


def _held() -> sa.Select[Any]:
    """Models joined with their holders."""
    return sa.select(
        models.c.id,
        models.c.size_bytes,
        models.c.signature,
        models.c.summary,
        model_holders.c.tenant,
        model_holders.c.name,
        model_holders.c.created_at,
        model_holders.c.visibility,
        model_holders.c.others_may_prove,
        model_holders.c.licence,
        model_holders.c.owner_signature,
        model_holders.c.metadata,
    ).join(model_holders, model_holders.c.model_id == models.c.id)


_BY_ID = (
    _held().where(models.c.id == sa.bindparam("id")).order_by(model_holders.c.created_at).limit(1)
)
_MINE_BY_ID = _BY_ID.where(model_holders.c.tenant == sa.bindparam("tenant"))
_HOLDS = sa.select(model_holders.c.tenant).where(
    model_holders.c.tenant == sa.bindparam("tenant"), model_holders.c.model_id == sa.bindparam("id")
)


def _shown(model_id: str) -> sa.Select[Any]:
    """The first holder to share a model; holders who let others prove it take precedence."""
    query = _held().where(models.c.id == model_id, _SEEN)
    order = (model_holders.c.others_may_prove.desc(), model_holders.c.published_at)
    return query.order_by(*order, model_holders.c.tenant).limit(1)


def _not_found(model_id: str) -> ModelNotFound:
    return ModelNotFound(f"There is no model {model_id!r}.", model=model_id)


def _record(row: sa.Row[Any], *, tenant: str | None) -> ModelRecord:
    """The row as ``tenant`` sees it (None: the service)."""
    own = tenant is None or row.tenant == tenant
    return ModelRecord(
        id=row.id,
        name=row.name,
        size_bytes=row.size_bytes,
        signature=row.signature,
        summary=row.summary,
        created_at=row.created_at,
        owner=row.tenant,
        visibility=ModelVisibility(row.visibility),
        others_may_prove=bool(row.others_may_prove),
        licence=row.licence,
        owner_signature=row.owner_signature,
        metadata=(row._mapping["metadata"] or {}) if own else {},
    )
