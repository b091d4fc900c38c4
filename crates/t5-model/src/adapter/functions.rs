//! What there is once for each function of an adapter.

use super::function::Function;
use std::ops::{Index, IndexMut};
use t5_hal::wire::FunctionId;

/// Physical functions of an adapter.
const PHYSICAL: usize = 8;
/// The first of them have virtual functions, and this many each.
const WITH_VIRTUAL: usize = 4;
const VIRTUAL_OF_EACH: usize = 16;

/// The functions of an adapter, the physical ones first.
pub fn functions() -> impl Iterator<Item = FunctionId> {
    let with_virtual = 0..WITH_VIRTUAL as u8;
    let all_virtual =
        with_virtual.flat_map(|pf| (1..=VIRTUAL_OF_EACH as u8).map(move |vf| FunctionId::virtual_of(pf, vf)));
    (0..PHYSICAL as u8).map(FunctionId::physical).chain(all_virtual)
}

/// Where a virtual function stands among all that the adapter has.
pub(super) fn virtual_place(function: FunctionId) -> Option<usize> {
    let (pf, vf) = (usize::from(function.pf()), usize::from(function.vf()?));
    (pf < WITH_VIRTUAL && vf <= VIRTUAL_OF_EACH).then(|| pf * VIRTUAL_OF_EACH + vf - 1)
}

/// Whether the adapter has that function.
pub(super) fn exists(function: FunctionId) -> bool {
    place(function).is_some()
}

/// Where a function stands among all; none if the adapter has no such function.
fn place(function: FunctionId) -> Option<usize> {
    if function.is_virtual() { Some(PHYSICAL + virtual_place(function)?) } else { Some(function.pf().into()) }
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

/// The functions that have a driver, by their names. What is done for each takes as long as there are up to the last one of them, not as there
/// could be.
#[derive(Debug)]
pub(super) struct Attached {
    all: PerFunction<Option<Box<Function>>>,
    /// Behind the last one that has ever had a driver.
    end: usize,
}

impl Attached {
    /// None.
    pub(super) fn new() -> Self {
        Self { all: PerFunction::new(|_| None), end: 0 }
    }

    /// A function has a driver from now on.
    pub(super) fn attach(&mut self, function: Function) {
        let id = function.id;
        self.end = self.end.max(place(id).expect("the adapter has that function") + 1);
        self.all[id] = Some(function.into());
    }

    /// Their names, and some more.
    pub(super) fn names(&self) -> impl Iterator<Item = FunctionId> + use<> {
        functions().take(self.end)
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &Function> + Clone {
        self.all.0[..self.end].iter().flatten().map(|function| &**function)
    }

    pub(super) fn iter_mut(&mut self) -> impl Iterator<Item = &mut Function> {
        self.all.0[..self.end].iter_mut().flatten().map(|function| &mut **function)
    }
}

impl Index<FunctionId> for Attached {
    type Output = Option<Box<Function>>;

    fn index(&self, function: FunctionId) -> &Self::Output {
        &self.all[function]
    }
}

impl IndexMut<FunctionId> for Attached {
    fn index_mut(&mut self, function: FunctionId) -> &mut Self::Output {
        &mut self.all[function]
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
        for none in [FunctionId::virtual_of(4, 1), FunctionId::virtual_of(3, 17)] {
            assert_eq!(names.get(none), None);
        }
    }
}
