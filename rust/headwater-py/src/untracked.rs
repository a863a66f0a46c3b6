//! `SendHandle`'s type: an extension type that the garbage collector does not track. The one file with unsafe code here.
//!
//! Every `#[pyclass]` is tracked, and a program that keeps a million handles would pay for that three times over. This type
//! is made from a spec without the GC flag, which is sound because a handle holds no Python object and so can be in no
//! cycle.
//!
//! **Invariants**
//! 1. An object of this type is only made by [`new`], which initialises its value: `tp_new` refuses, and the type cannot be
//!    subclassed (no `BASETYPE` flag). So an object whose type is exactly this one holds an initialised `SendHandle`.
//! 2. The value is dropped once, by `tp_dealloc`, and is never moved or borrowed mutably.
//! 3. `SendHandle` is `Send + Sync` and holds nothing of Python: dropping it runs no Python code.
#![allow(unsafe_code, reason = "a type without the GC flag cannot be had from pyo3 otherwise")]

use std::ffi::{c_int, c_uint, c_void};
use std::ptr;

use pyo3::exceptions::PyTypeError;
use pyo3::ffi;
use pyo3::prelude::*;
use pyo3::sync::PyOnceLock;
use pyo3::types::PyType;

use crate::handle::SendHandle;

#[repr(C)]
struct Layout {
    base: ffi::PyObject,
    value: SendHandle,
}

const fn assert_shareable<T: Send + Sync + 'static>() {}
const _: () = assert_shareable::<SendHandle>();

/// The type object, made on first use.
pub(crate) fn type_object(py: Python<'_>) -> PyResult<&Bound<'_, PyType>> {
    static TYPE: PyOnceLock<Py<PyType>> = PyOnceLock::new();
    TYPE.get_or_try_init(py, || make_type(py)).map(|made| made.bind(py))
}

fn make_type(py: Python<'_>) -> PyResult<Py<PyType>> {
    let mut slots = [
        ffi::PyType_Slot { slot: ffi::Py_tp_dealloc, pfunc: dealloc as *mut c_void },
        ffi::PyType_Slot { slot: ffi::Py_tp_new, pfunc: refuse as *mut c_void },
        ffi::PyType_Slot { slot: 0, pfunc: ptr::null_mut() },
    ];
    let mut spec = ffi::PyType_Spec {
        name: c"headwater._core.SendHandle".as_ptr(),
        basicsize: c_int::try_from(size_of::<Layout>()).expect("a few dozen bytes"),
        itemsize: 0,
        flags: c_uint::try_from(ffi::Py_TPFLAGS_DEFAULT).expect("the default flags are 32-bit"),
        slots: slots.as_mut_ptr(),
    };
    // SAFETY: attached (`py`); the spec and its slots live through the call, which copies what it keeps; the name is static.
    // The functions have the signatures that their slots demand.
    let made = unsafe { Bound::from_owned_ptr_or_err(py, ffi::PyType_FromSpec(&raw mut spec)) }?;
    Ok(made.cast_into::<PyType>()?.unbind())
}

/// Makes an object that holds a handle.
#[inline]
pub(crate) fn new(py: Python<'_>, value: SendHandle) -> PyResult<Bound<'_, PyAny>> {
    let kind = type_object(py)?.as_type_ptr();
    // SAFETY: attached; `kind` is a ready heap type whose objects have the size of `Layout`, so the allocation (zeroed, or
    // null with an exception set) has room for it, aligned for any field; the value is written before anybody sees it.
    unsafe {
        let object = ffi::PyType_GenericAlloc(kind, 0);
        if object.is_null() {
            return Err(PyErr::fetch(py));
        }
        ptr::write(&raw mut (*object.cast::<Layout>()).value, value);
        Ok(Bound::from_owned_ptr(py, object))
    }
}

/// The handle that an object holds.
pub(crate) fn get<'a>(object: &'a Bound<'_, PyAny>) -> PyResult<&'a SendHandle> {
    if !object.get_type().is(type_object(object.py())?) {
        return Err(PyTypeError::new_err(format!("expected a SendHandle, got {}", object.get_type().name()?)));
    }
    // SAFETY: invariant 1: the object holds an initialised value, which lives as long as the object is borrowed.
    Ok(unsafe { &(*object.as_ptr().cast::<Layout>()).value })
}

/// `tp_dealloc`.
unsafe extern "C" fn dealloc(object: *mut ffi::PyObject) {
    // SAFETY: called once, by the interpreter, for an object of this type when nobody refers to it any more; invariants 1
    // to 3. A heap type's objects own a reference to it.
    unsafe {
        let kind = ffi::Py_TYPE(object);
        ptr::drop_in_place(&raw mut (*object.cast::<Layout>()).value);
        ffi::PyObject_Free(object.cast());
        ffi::Py_DECREF(kind.cast());
    }
}

/// `tp_new`: handles come from `send`.
unsafe extern "C" fn refuse(
    _kind: *mut ffi::PyTypeObject,
    _args: *mut ffi::PyObject,
    _kwargs: *mut ffi::PyObject,
) -> *mut ffi::PyObject {
    // SAFETY: the interpreter calls this attached; the message is static and ends in a zero.
    unsafe {
        ffi::PyErr_SetString(
            ffi::PyExc_TypeError,
            c"expected Producer.send to make handles, got a call of the type".as_ptr(),
        );
    }
    ptr::null_mut()
}
