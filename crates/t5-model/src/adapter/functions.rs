//! What there is once for each function of an adapter.

use std::ops::{Index, IndexMut};
use t5_hal::wire::FunctionId;

/// Physical functions of an adapter.
const PHYSICAL: usize = 8;

/// The functions of an adapter.
pub fn functions() -> impl Iterator<Item = FunctionId> {
    (0..PHYSICAL as u8).map(FunctionId::physical)
}

/// Where a function stands among all; none if the adapter has no such function.
const fn place(function: FunctionId) -> Option<usize> {
    if function.is_virtual() { None } else { Some(function.pf() as usize) }
}

/// One of something for each function.
#[derive(Debug)]
pub(super) struct PerFunction<T>(Box<[T]>);

impl<T> PerFunction<T> {
    /// One for each, made from its name.
    pub(super) fn new(make: impl FnMut(FunctionId) -> T) -> Self {
        Self(functions().map(make).collect())
    }

    pub(super) fn get(&self, function: FunctionId) -> Option<&T> {
        self.0.get(place(function)?)
    }

    pub(super) fn iter(&self) -> std::slice::Iter<'_, T> {
        self.0.iter()
    }

    pub(super) fn iter_mut(&mut self) -> std::slice::IterMut<'_, T> {
        self.0.iter_mut()
    }
}

/// Of a function that there is: which is looked at where a driver takes it.
impl<T> Index<FunctionId> for PerFunction<T> {
    type Output = T;

    fn index(&self, function: FunctionId) -> &T {
        self.get(function).expect("the adapter has that function")
    }
}

impl<T> IndexMut<FunctionId> for PerFunction<T> {
    fn index_mut(&mut self, function: FunctionId) -> &mut T {
        &mut self.0[place(function).expect("the adapter has that function")]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_function_has_its_own() {
        let names = PerFunction::new(|function| function);
        assert!(functions().all(|function| names[function] == function));
        assert_eq!(names.iter().count(), functions().count());
        assert_eq!(names.get(FunctionId::virtual_of(4, 1)), None);
    }
}
