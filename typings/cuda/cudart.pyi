from cuda.bindings.runtime import *
